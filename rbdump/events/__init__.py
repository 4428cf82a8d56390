# SPDX-License-Identifier: Apache-2.0
"""Records to fields: format grammar, catalog, print fmt, filters, task names."""

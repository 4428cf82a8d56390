# SPDX-License-Identifier: Apache-2.0
"""The library behind the command line: a region and its sources, brought together into one trace."""

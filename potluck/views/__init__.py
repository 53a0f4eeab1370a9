"""Views of a run: the profile as annotated assembly, the trace for Konata and for Perfetto."""

from __future__ import annotations

from potluck.views.files import FORMATS, format_of, write_trace

__all__ = ["FORMATS", "format_of", "write_trace"]

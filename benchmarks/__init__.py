"""Measures what users would feel, ours and what they would pick instead side by side; see docs/performance.md."""

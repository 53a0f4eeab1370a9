"""The pages are programs: every command in them runs, as written; `python -m tests.docs` lists, runs and renews them."""

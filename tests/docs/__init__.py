"""The pages are programs: their commands run, as written; `python -m tests.docs` lists, runs and renews them."""

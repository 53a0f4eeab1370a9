"""GNU assembly: text to sections and symbols, and back."""

"""The process of a Linux executable: address space, system calls, files."""

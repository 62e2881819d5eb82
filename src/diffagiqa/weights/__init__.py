"""Folders and hub repositories to and from models; the released checkpoint to ours."""

"""Any number of images: resumable jobs, the Ray engine and the service."""

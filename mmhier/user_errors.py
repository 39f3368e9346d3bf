"""What a user can cause and repair: one sentence without a traceback."""

from http.client import HTTPException

# Anything else is a defect and shows its traceback. OSError: files that are missing or forbidden, folders
# given as files, names that are too long, full disks; with HTTPException all that goes wrong in a network.
USER_ERRORS = (ValueError, OSError, ImportError, HTTPException)

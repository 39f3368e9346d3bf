"""From pictures and videos to the poses and bodies of the people on them."""

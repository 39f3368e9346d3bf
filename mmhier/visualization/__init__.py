"""Pictures: skeletons on images, contact sheets, training curves."""

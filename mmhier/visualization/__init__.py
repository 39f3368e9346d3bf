"""Pictures: skeletons, bodies and labels on images, contact sheets, training curves, cost and accuracy."""

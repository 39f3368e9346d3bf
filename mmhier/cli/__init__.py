"""The command ``mmhier``: one thin module per sub-command; the work is done in the other rooms."""

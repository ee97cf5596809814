"""Follow-up protocols as data: the shipped files, and what reads and checks them."""

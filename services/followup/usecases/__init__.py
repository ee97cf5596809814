"""What the service does with the rules, through ports."""

"""What can train here: cards, driver, torch, host."""

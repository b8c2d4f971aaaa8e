"""Plans, installs and verifies what fastai needs."""

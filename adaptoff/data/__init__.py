"""What ships beside the code: the default policy, profiles and scenarios."""

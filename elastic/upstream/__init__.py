"""Knowledge of timm and transformers, kept in one place."""

"""All that is known of timm and transformers, and the only place where they are named."""

"""What makes one method of training differ from another: curricula, samplers, distillers, teachers."""

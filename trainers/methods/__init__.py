"""Methods of training: curricula, samplers, distillers, teachers and their options."""

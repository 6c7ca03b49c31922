"""What crosses the trust boundary, who looks at it, and what plug-ins promise: values without arithmetic."""

"""Networks from a folder in the Hugging Face layout: config.json and safetensors, of some well-known types."""

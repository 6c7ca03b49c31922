"""What goes over the network: frames of one schema, and what is checked of each before it is believed."""

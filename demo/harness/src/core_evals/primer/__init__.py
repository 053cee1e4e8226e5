"""The primer harness: `primer_facts` asks a model short questions, `primer_noop` asks nothing."""

"""Where scores can be exported to, a module for each destination; their libraries are imported when one is used."""

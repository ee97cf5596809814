"""HL7 v2: a lossless tolerant view over bytes, data types and acknowledgements."""

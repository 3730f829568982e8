"""File formats of the official datasets, read without the frameworks that wrote them. Bytes in, arrays out."""

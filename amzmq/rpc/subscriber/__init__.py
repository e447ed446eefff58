"""Following many machines of one Mux, to read them."""

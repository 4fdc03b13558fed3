"""Reports about one run, each one page of HTML that needs nothing from elsewhere."""

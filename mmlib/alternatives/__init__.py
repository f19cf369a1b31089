"""What Mix & Match is put beside: other ways from an easy policy to the one that is wanted, as entries of data."""

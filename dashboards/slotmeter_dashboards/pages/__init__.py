"""One module per page; each says where its parts stand and draws them from the API's answers."""

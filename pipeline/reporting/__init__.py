"""What the stage `report` shows: the plots, the pictures side by side and the page that holds them."""

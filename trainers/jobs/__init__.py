"""What commands do with a trained supernet: open it, judge its subnets, search, write one out, show the whole job."""

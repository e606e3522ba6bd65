"""What people see: tables, charts and HTML reports."""

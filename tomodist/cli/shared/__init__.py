"""What several subcommands share: options, sources of maps, tables, running."""

from rankstone.cli.app import main

main()

from rankstone.cli import main

main()

import sys

from nightshift.local.main import main

sys.exit(main())

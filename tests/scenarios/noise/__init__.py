"""Background noise: healthy traffic of many services, in which no stable rule may find anything."""

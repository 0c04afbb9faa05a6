"use strict";
// Served by `pyrosynth serve`: everything comes from the server. A static export has data here.
const EXPORTED = null;

// What `npm run conformance` runs.
import './main.ts';

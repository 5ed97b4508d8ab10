// Builds the pages with the identity provider's library replaced, and with their messages to the console.

import path from "node:path";
import { createRequire } from "node:module";

const require = createRequire(path.join(process.cwd(), "package.json"));
const react = require("@vitejs/plugin-react").default ?? require("@vitejs/plugin-react");

export default {
  plugins: [react()],
  resolve: {
    alias: {
      "@clerk/clerk-react": path.resolve("identity.js"),
    },
  },
  build: { sourcemap: false, minify: false, chunkSizeWarningLimit: 5000 },
};

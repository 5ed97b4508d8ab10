export default {
  seer: {
    input: "openapi.json",
    output: { target: "generated/orval.ts", client: "fetch", baseUrl: process.env.SEER_URL },
  },
};

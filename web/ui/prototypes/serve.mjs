// Shows the prototypes in a browser: `npm run prototypes`, then open the address it prints.
import { start } from "../tests/server.mjs";

const { origin } = await start(Number(process.env.PORT ?? 8123));
console.log(`prototypes at ${origin}/recordings`);

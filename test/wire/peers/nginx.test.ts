import { behind } from "./behind.ts";
import { nginx } from "./proxies.ts";

behind(nginx);

import { behind } from "./behind.ts";
import { haproxy } from "./proxies.ts";

behind(haproxy);

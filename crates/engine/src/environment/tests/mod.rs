mod building;
mod deciding;
mod migrations;
mod properties;
mod telling;
mod validating;
mod world;

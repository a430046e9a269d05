mod building;
mod deciding;
mod properties;
mod telling;
mod validating;
mod world;
